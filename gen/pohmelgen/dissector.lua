-- Frames: docs/protocol.md, section 2; runtime/wire/frame.h has the picture.
local PORT = 1025
local BANNER_BYTES, HEADER_BYTES = 16, 48
local KIND_REQUEST, KIND_REPLY, KIND_EVENT, KIND_CONTROL = 1, 2, 3, 4

local kinds = {[KIND_REQUEST] = "request", [KIND_REPLY] = "reply", [KIND_EVENT] = "event",
               [KIND_CONTROL] = "control"}
local controls = {"PING", "PONG", "CANCEL", "GOAWAY"}
local classes = {[0] = "normal", [1] = "release"}
local command_names = {}
for number, command in pairs(commands) do
    command_names[number] = command.name
end

local pohmel = Proto("pohmel", "Pohmel network filesystem")
local f = pohmel.fields
f.version_min = ProtoField.uint16("pohmel.version_min", "Lowest version", base.DEC)
f.version_max = ProtoField.uint16("pohmel.version_max", "Highest version", base.DEC)
f.hello_len = ProtoField.uint32("pohmel.hello_len", "Bytes of hello", base.DEC)
f.kind = ProtoField.uint8("pohmel.kind", "Kind", base.DEC, kinds)
f.flags = ProtoField.uint8("pohmel.flags", "Flags", base.HEX)
f.retry = ProtoField.bool("pohmel.flags.retry", "Sent before", 8, nil, 0x01)
f.class = ProtoField.uint8("pohmel.class", "Traffic class", base.DEC, classes)
f.command = ProtoField.uint16("pohmel.command", "Command", base.DEC, command_names)
f.control = ProtoField.uint16("pohmel.control", "Control", base.DEC, controls)
f.credits = ProtoField.uint16("pohmel.credits", "Credits", base.DEC)
f.status = ProtoField.uint32("pohmel.status", "Status", base.DEC, statuses)
f.id = ProtoField.uint64("pohmel.id", "Id", base.DEC)
f.slot = ProtoField.uint32("pohmel.slot", "Slot", base.DEC)
f.sequence = ProtoField.uint32("pohmel.sequence", "Sequence", base.DEC)
f.message_len = ProtoField.uint32("pohmel.message_len", "Message bytes", base.DEC)
f.payload_len = ProtoField.uint32("pohmel.payload_len", "Payload bytes", base.DEC)
f.body_crc = ProtoField.uint32("pohmel.body_crc", "CRC-32C of message and payload", base.HEX)
f.header_crc = ProtoField.uint32("pohmel.header_crc", "CRC-32C of the header", base.HEX)
f.payload = ProtoField.bytes("pohmel.payload", "Payload")
local malformed = ProtoExpert.new("pohmel.malformed", "Not a valid encoding", expert.group.MALFORMED,
                                  expert.severity.ERROR)
pohmel.experts = {malformed}

-- Varint at AT: low and high 32 bits, bytes used. nil where it does not end within LIMIT.
local function varint(tvb, at, limit)
    local low, high, shift, used = 0, 0, 0, 0
    while at + used < limit and used < 10 do
        local byte = tvb(at + used, 1):uint()
        local bits = byte % 128
        if shift < 28 then
            low = low + bits * 2 ^ shift
        elseif shift == 28 then
            low = low + (bits % 16) * 2 ^ 28
            high = math.floor(bits / 16)
        else
            high = (high + bits * 2 ^ (shift - 32)) % 2 ^ 32
        end
        used = used + 1
        if byte < 128 then
            return low, high, used
        end
        shift = shift + 7
    end
    return nil
end

local function number_text(kind, low, high)
    if kind == "bool" then
        return (low ~= 0 or high ~= 0) and "yes" or "no"
    end
    if kind == "signed" then
        local value = UInt64(low, high)
        if low % 2 == 0 then
            return tostring(value:rshift(1))
        end
        return "-" .. tostring(value:rshift(1) + UInt64(1))
    end
    return tostring(UInt64(low, high))
end

local function bytes_text(range)
    local out = {}
    local raw = range:len() > 0 and range:bytes() or nil
    for i = 0, range:len() - 1 do
        local byte = raw:get_index(i)
        if byte >= 32 and byte < 127 and byte ~= 34 and byte ~= 92 then
            out[#out + 1] = string.char(byte)
        else
            out[#out + 1] = string.format("\\x%02x", byte)
        end
    end
    return '"' .. table.concat(out) .. '"'
end

local walk

-- A field with a length: sub-message, bytes, or numbers packed together.
local function delimited(tvb, field, start, at, len, tree)
    local whole = tvb(start, at + len - start)
    if field.kind == "message" then
        return walk(tvb, field.message, at, at + len, tree:add(whole, field.name))
    elseif field.packed then
        local words, limit = {}, at + len
        while at < limit do
            local low, high, used = varint(tvb, at, limit)
            if low == nil then
                return false
            end
            words[#words + 1] = number_text(field.kind, low, high)
            at = at + used
        end
        tree:add(whole, field.name .. ": " .. table.concat(words, " "))
    elseif len == 0 then
        tree:add(whole, field.name .. ': ""')
    else
        tree:add(whole, field.name .. ": " .. bytes_text(tvb(at, len)))
    end
    return true
end

-- Adds the fields of the message NAME between AT and LIMIT. False where they make no sense.
function walk(tvb, name, at, limit, tree)
    local fields = messages[name] or {}
    while at < limit do
        local start = at
        local key, _, used = varint(tvb, at, limit)
        if key == nil then
            return false
        end
        at = at + used
        local wire, number = key % 8, math.floor(key / 8)
        local field = fields[number] or {name = "field " .. number, kind = wire == 2 and "bytes" or "number"}
        if wire == 0 then
            local low, high, more = varint(tvb, at, limit)
            if low == nil then
                return false
            end
            at = at + more
            tree:add(tvb(start, at - start), field.name .. ": " .. number_text(field.kind, low, high))
        elseif wire == 2 then
            local len, high, more = varint(tvb, at, limit)
            if len == nil or high ~= 0 or len > limit - at - more then
                return false
            end
            at = at + more
            if not delimited(tvb, field, start, at, len, tree) then
                return false
            end
            at = at + len
        elseif wire == 1 or wire == 5 then
            local len = wire == 1 and 8 or 4
            if len > limit - at then
                return false
            end
            at = at + len
            tree:add(tvb(start, at - start), field.name .. ": fixed")
        else
            return false
        end
    end
    return true
end

local function message_tree(tvb, name, at, len, tree)
    if name == nil or len == 0 then
        return
    end
    local branch = tree:add(tvb(at, len), name)
    if not walk(tvb, name, at, at + len, branch) then
        branch:add_proto_expert_info(malformed)
    end
end

local function banner(tvb, at, len, pinfo, tree)
    local branch = tree:add(pohmel, tvb(at, len), "Pohmel banner")
    branch:add_le(f.version_min, tvb(at + 8, 2))
    branch:add_le(f.version_max, tvb(at + 10, 2))
    branch:add_le(f.hello_len, tvb(at + 12, 4))
    message_tree(tvb, "Hello", at + BANNER_BYTES, len - BANNER_BYTES, branch)
    pinfo.cols.info:append(" HELLO")
end

-- What one line of the list of packets says about a frame.
local function title(kind, number, status)
    if kind == KIND_CONTROL then
        return controls[number] or ("control " .. number)
    end
    local name = command_names[number] or ("command " .. number)
    if kind == KIND_REPLY then
        return name .. " = " .. (statuses[status] or ("status " .. status))
    end
    return name
end

local function frame(tvb, at, len, pinfo, tree)
    local kind, number = tvb(at + 5, 1):uint(), tvb(at + 8, 2):le_uint()
    local status, id = tvb(at + 12, 4):le_uint(), tvb(at + 16, 8):le_uint64()
    local message_len, payload_len = tvb(at + 32, 4):le_uint(), tvb(at + 36, 4):le_uint()
    local words = title(kind, number, status)
    local branch = tree:add(pohmel, tvb(at, len),
                            "Pohmel " .. (kinds[kind] or "frame") .. " " .. words .. " #" .. tostring(id))
    pinfo.cols.info:append(" " .. words .. " #" .. tostring(id))
    branch:add(f.kind, tvb(at + 5, 1))
    branch:add(f.flags, tvb(at + 6, 1)):add(f.retry, tvb(at + 6, 1))
    branch:add(f.class, tvb(at + 7, 1))
    branch:add_le(kind == KIND_CONTROL and f.control or f.command, tvb(at + 8, 2))
    branch:add_le(f.credits, tvb(at + 10, 2))
    branch:add_le(f.status, tvb(at + 12, 4))
    branch:add_le(f.id, tvb(at + 16, 8))
    branch:add_le(f.slot, tvb(at + 24, 4))
    branch:add_le(f.sequence, tvb(at + 28, 4))
    branch:add_le(f.message_len, tvb(at + 32, 4))
    branch:add_le(f.payload_len, tvb(at + 36, 4))
    branch:add_le(f.body_crc, tvb(at + 40, 4))
    branch:add_le(f.header_crc, tvb(at + 44, 4))
    local command = commands[number]
    if command ~= nil and kind ~= KIND_CONTROL then
        message_tree(tvb, kind == KIND_REPLY and command.reply or command.request, at + HEADER_BYTES, message_len,
                     branch)
    end
    if payload_len > 0 then
        branch:add(f.payload, tvb(at + HEADER_BYTES + message_len, payload_len))
    end
end

-- Bytes of what begins at AT and its dissector. nil: more is needed to tell. false: not ours.
local function unit(tvb, at, left)
    if left < 4 then
        return nil
    end
    local magic = tvb(at, 4):string()
    if magic == "POHM" then
        if left < BANNER_BYTES then
            return nil
        end
        return BANNER_BYTES + tvb(at + 12, 4):le_uint(), banner
    elseif magic == "PHM1" then
        if left < HEADER_BYTES then
            return nil
        end
        return HEADER_BYTES + tvb(at + 32, 4):le_uint() + tvb(at + 36, 4):le_uint(), frame
    end
    return false
end

function pohmel.dissector(tvb, pinfo, tree)
    local at, total = 0, tvb:len()
    pinfo.cols.protocol = "POHMEL"
    pinfo.cols.info = ""
    while at < total do
        local need, dissect = unit(tvb, at, total - at)
        if need == false then
            return at
        elseif need == nil or need > total - at then
            pinfo.desegment_offset = at
            pinfo.desegment_len = need == nil and DESEGMENT_ONE_MORE_SEGMENT or need - (total - at)
            return total
        end
        dissect(tvb, at, need, pinfo, tree)
        at = at + need
    end
    return total
end

DissectorTable.get("tcp.port"):add(PORT, pohmel)
