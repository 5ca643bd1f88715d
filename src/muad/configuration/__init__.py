"""What a run is made of: settings checked before anything is computed, and recipes."""
