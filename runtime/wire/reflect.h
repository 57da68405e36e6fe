/* How protobuf-c lays values out in memory; what validation and printing share. Private to runtime/wire. */
#ifndef PH_WIRE_REFLECT_H
#define PH_WIRE_REFLECT_H

#include <protobuf-c/protobuf-c.h>

/* Bytes that one value of TYPE takes in a struct or an array. */
static inline size_t ph_value_size(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_SINT64:
        return sizeof(uint64_t);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(ProtobufCMessage *);
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    default:
        return sizeof(uint32_t);
    }
}

#endif
