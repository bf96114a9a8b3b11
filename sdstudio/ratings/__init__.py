"""What people say of pictures they see without knowing the model, and what follows from it."""
