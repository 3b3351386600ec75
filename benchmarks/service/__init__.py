"""The service in figures, beside MLflow, Ray Jobs and the same training without a service: `make bench-service`."""
