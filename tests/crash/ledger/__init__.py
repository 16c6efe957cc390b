"""A room for the crash tests: batches of numbers to write down once each, with the house's own jobs, leases and fences."""
