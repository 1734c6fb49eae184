"""Containers with a life cycle: started on the first request, watched, put to sleep, shut down gracefully."""
