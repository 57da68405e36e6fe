/* Attributes and times between the protocol and the kernel. */
#ifndef PH_CLIENT_FUSE_ATTR_H
#define PH_CLIENT_FUSE_ATTR_H

#include <sys/stat.h>
#include <time.h>

#include "client/fuse/kernel_abi.h"
#include "client/fuse/mount.h"

/* ATTR as the kernel wants it. */
void ph_attr_to_stat(const Pohmel__Attr *attr, struct stat *out);

/* The same for STATX, with the time of birth where the server knows it. */
void ph_attr_to_statx(const Pohmel__Attr *attr, struct fuse_statx *out);

/* Entry for a reply: kept by the kernel for no time at all. */
void ph_attr_to_entry(const Pohmel__Attr *attr, struct fuse_entry_param *out);

/* Device numbers: the protocol has major << 32 | minor. */
uint64_t ph_device_to_wire(dev_t device);
dev_t ph_device_from_wire(uint64_t device);

/* A time as a message; initialised. */
Pohmel__Time ph_time_to_wire(const struct timespec *time);

/* Bits of SETATTR for libfuse's FUSE_SET_ATTR_... */
uint32_t ph_setattr_bits(int to_set);

#endif
