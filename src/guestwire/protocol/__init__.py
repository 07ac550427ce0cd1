"""What *Genesys* decides: the Guest API without any I/O, one core for client and emulator."""
