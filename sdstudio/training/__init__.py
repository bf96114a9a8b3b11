"""What a run is made of before it starts: recipes, sweeps, its plan, and what would stop it. No torch here."""
