"""The bundled tiny models, the little drawn world they learned from, and the script that rebuilds them."""
