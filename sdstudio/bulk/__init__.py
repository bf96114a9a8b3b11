"""Captioning, generating and evaluating over a Ray cluster: 1e5 to 1e7 pictures, each made once."""
