"""What is said: requests, answers, frames and the reading of JSON. Nothing here waits."""
