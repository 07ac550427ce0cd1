"""Files of guests beyond what can be seen from outside: pictures cleaned in a process of their own, and scanners."""
