"""The waist: spaces, codecs, conditions, the model contract, noise, settings and plug-ins."""
