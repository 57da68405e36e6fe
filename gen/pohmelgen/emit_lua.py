def dissector(schema):
    return ""
