def page(schema):
    return ""
