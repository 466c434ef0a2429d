"""A stand-in for the Hugging Face Hub, for tests: see README.md in this folder."""
