/* Generated from idl/ by gen/generate.py. Do not edit. */
#ifndef PH_PROTOCOL_H
#define PH_PROTOCOL_H

#include "tiny.pb-c.h"

#endif
