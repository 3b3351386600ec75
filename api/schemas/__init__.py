"""The shapes of bodies and replies, and how they are made from records; one module per resource."""
