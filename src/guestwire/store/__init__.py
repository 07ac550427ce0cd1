"""Where messages and their journal are kept."""
