"""Data: `read` and `report` are torch-free (the API's parser child runs them); the other modules make tensors."""
