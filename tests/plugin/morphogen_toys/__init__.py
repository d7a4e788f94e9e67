"""What a third party writes to add a family and a modality: nothing in morphogen is edited."""
