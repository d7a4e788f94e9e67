"""Keys and personal data: recognised without a network, never modelled as they are, and made anew."""
