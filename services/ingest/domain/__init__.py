"""What the CRM says, in our words: pure, without a clock or a network."""
