"""`leadpact agreement backtest`: a record through the very rules of the services, under two agreements."""
