"""A stateful local Genesys: the Guest API as documented, with faults on demand."""
