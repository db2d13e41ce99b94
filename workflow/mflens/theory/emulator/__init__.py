"""The emulator of the matter power."""
