"""What both HTTP services share, one concept per file. `app.py` puts the parts together. No torch."""
