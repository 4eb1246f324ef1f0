"""`leadpact scoring evaluate`: does the score tell the truth, judged by what became of past leads."""
