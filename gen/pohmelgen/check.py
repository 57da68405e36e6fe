def problems(schema):
    return []
