"""The routes, one module per resource; a body asks the store and shows what it says."""
