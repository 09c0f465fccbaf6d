"""What crosses the wire: pydantic models, run states and the error tree. Imports pydantic only."""
