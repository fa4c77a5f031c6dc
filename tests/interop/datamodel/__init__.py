"""Types in Python, made of the schemas by datamodel-code-generator, in an environment of its own."""
