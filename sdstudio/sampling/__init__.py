"""How prompts become what the U-Net takes, and where a guidance takes hold of a picture that forms. Imports torch."""
