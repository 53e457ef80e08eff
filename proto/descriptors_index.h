/* The descriptors of all services that this build serves (google.protobuf.FileDescriptorSet), as embedded by the build.
 */
#ifndef LAPSE_PROTO_DESCRIPTORS_INDEX_H
#define LAPSE_PROTO_DESCRIPTORS_INDEX_H

#include "base/bytes.h"

/* One file of the set; borrowed from the program's text. */
struct descriptor_file {
    struct slice bytes; /* a google.protobuf.FileDescriptorProto */
    struct slice name;
    struct slice package;
};

/* Walks the files: start with `*position` 0; false at the end. */
bool descriptor_file_next(size_t *position, struct descriptor_file *file);
bool descriptor_file_by_name(struct slice name, struct descriptor_file *file);
/* The file that declares a service, method, message or enum by its full name ("lapse.v1.Grants.Get", no leading dot).
 */
bool descriptor_file_by_symbol(struct slice symbol, struct descriptor_file *file);
/* Import `i` of a file; false past the last. */
bool descriptor_import(const struct descriptor_file *file, size_t i, struct slice *name);
/* Service `i` of a file, its name without the package; false past the last. */
bool descriptor_service(const struct descriptor_file *file, size_t i, struct slice *name);
/* A message or enum by its full name (a leading dot is passed over), at the top of its file: its DescriptorProto or
 * EnumDescriptorProto. */
bool descriptor_message(struct slice full_name, struct slice *message);
bool descriptor_enum(struct slice full_name, struct slice *values);
/* Whether "package.Service" is served. */
bool descriptor_has_service(struct slice full_name);

#endif
