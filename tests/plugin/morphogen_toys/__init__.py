"""What a third party writes to add a family, a modality and a metric: nothing in morphogen is edited."""
