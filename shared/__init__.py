"""What the four services share: messages, the bus, the one work loop, the agreement, the CRM."""
