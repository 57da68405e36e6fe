-- Pohmel for Wireshark and tshark: tshark -X lua_script:pohmel.lua
-- Generated from idl/ by gen/generate.py. Do not edit.

local messages = {}
messages["Asker"] = {
    [1] = {name = "uid", kind = "number"},
}
messages["FindRequest"] = {
    [1] = {name = "asker", kind = "message", message = "Asker"},
    [2] = {name = "flags", kind = "number"},
    [3] = {name = "names", kind = "bytes"},
}
messages["FindReply"] = {
    [1] = {name = "object", kind = "number"},
    [2] = {name = "made", kind = "signed"},
}
messages["PutRequest"] = {
    [1] = {name = "length", kind = "number"},
}
messages["PutResult"] = {
    [1] = {name = "fresh", kind = "bool"},
}
messages["Change"] = {
    [40] = {name = "put", kind = "message", message = "PutRequest"},
}
messages["ChangeResult"] = {
    [1] = {name = "status", kind = "number"},
    [40] = {name = "put", kind = "message", message = "PutResult"},
}
messages["TransactRequest"] = {
    [1] = {name = "changes", kind = "message", message = "Change"},
}
messages["TransactReply"] = {
    [1] = {name = "results", kind = "message", message = "ChangeResult"},
}
messages["Nothing"] = {
}
messages["NewsEvent"] = {
    [1] = {name = "object", kind = "number"},
}

local commands = {
    [8] = {name = "TRANSACT", request = "TransactRequest", reply = "TransactReply"},
    [16] = {name = "FIND_IT", request = "FindRequest", reply = "FindReply"},
    [40] = {name = "PUT", request = "PutRequest", reply = "PutResult"},
    [90] = {name = "NEWS", request = "NewsEvent", reply = "Nothing"},
}

local statuses = {
    [0] = "OK",
    [2] = "NOT_FOUND",
    [3] = "IO_ERROR",
    [18] = "NO_SPACE",
}

