"""What programs call the columns of the files that they export: data, one YAML file a format.

In come the rows at the head of a file; out comes the format that they are in, and where its headings stand.

    catalogue      what such a file may say, and how a format is recognised
    ratchet.yaml   our own: what people call the columns of a table that they make themselves
    *.yaml         the others, by the name that `--format` takes
"""
