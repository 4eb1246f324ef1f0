"""The four services of Leadpact; none imports another."""
