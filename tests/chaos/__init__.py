"""Real processes, killed, stopped, starved and deceived, while messages flow; judged from the outside."""
