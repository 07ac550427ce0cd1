"""Who hears of what has happened, each at a pace of its own."""
