"""What the descriptors say, as plain objects that know where they stand."""
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from . import names

F = descriptor_pb2.FieldDescriptorProto
INTEGERS = {F.TYPE_UINT32: 32, F.TYPE_UINT64: 64}
SIGNED = {F.TYPE_SINT32, F.TYPE_SINT64}
TYPE_NAMES = {value: name[5:].lower() for name, value in F.Type.items()}


class Element:
    """Anything declared in a .proto file."""

    def __init__(self, file, path, name):
        self.file = file
        self.path = tuple(path)
        self.name = name
        span, self.comment = file.locations.get(self.path, ((0,), ''))
        self.line = span[0] + 1

    def where(self):
        return '%s:%d' % (self.file.name, self.line)


class File:
    def __init__(self, proto):
        self.name = proto.name
        self.package = proto.package
        self.proto = proto
        self.locations = {
            tuple(l.path): (tuple(l.span), l.leading_comments.strip())
            for l in proto.source_code_info.location}


class Enum(Element):
    def __init__(self, file, path, proto, options):
        super().__init__(file, path, proto.name)
        self.values = []
        for i, value in enumerate(proto.value):
            element = Element(file, path + [2, i], value.name)
            element.number = value.number
            element.rule = options.get('status', value.options)
            self.values.append(element)


class Oneof(Element):
    pass


class Field(Element):
    def __init__(self, file, path, proto, options):
        super().__init__(file, path, proto.name)
        self.number = proto.number
        self.type = proto.type
        self.type_name = proto.type_name.rsplit('.', 1)[-1]
        self.repeated = proto.label == F.LABEL_REPEATED
        self.optional = proto.proto3_optional
        self.oneof_index = proto.oneof_index if proto.HasField('oneof_index') else None
        self.rule = options.get('field', proto.options)
        self.is_message = proto.type == F.TYPE_MESSAGE
        self.is_bytes = proto.type == F.TYPE_BYTES
        self.is_integer = proto.type in INTEGERS
        self.oneof = None
        self.message = None

    def type_text(self):
        """As it stands in the .proto and in the wire lock."""
        return self.type_name if self.is_message else TYPE_NAMES[self.type]


class Message(Element):
    def __init__(self, file, path, proto, options):
        super().__init__(file, path, proto.name)
        self.nested = [n.name for n in proto.nested_type] + [n.name for n in proto.enum_type]
        self.oneofs = [Oneof(file, path + [8, i], o.name) for i, o in enumerate(proto.oneof_decl)]
        self.fields = [Field(file, path + [2, i], f, options) for i, f in enumerate(proto.field)]
        self.fields.sort(key=lambda field: field.number)
        for field in self.fields:
            if field.oneof_index is not None:
                field.oneof = self.oneofs[field.oneof_index]
        self.snake = names.snake(self.name)
        self.ctype = '%s__%s' % (file.package.capitalize(), self.name)
        self.rule_name = 'ph_rule_' + self.snake

    def oneof_members(self, name):
        return [f for f in self.fields if f.oneof is not None and f.oneof.name == name]


class Command(Element):
    def __init__(self, file, path, proto, options):
        super().__init__(file, path, proto.name)
        self.rule = options.get('command', proto.options)
        self.request_name = proto.input_type.rsplit('.', 1)[-1]
        self.reply_name = proto.output_type.rsplit('.', 1)[-1]
        self.streaming = proto.client_streaming or proto.server_streaming
        self.snake = names.snake(self.name)
        self.upper = names.upper(self.name)
        self.request = None
        self.reply = None

    @property
    def number(self):
        return self.rule.number if self.rule is not None else 0

    def choice(self, field):
        """Name of the value of an enum option, e.g. choice('effect') == 'READS'."""
        descriptor = self.rule.DESCRIPTOR.fields_by_name[field]
        value = descriptor.enum_type.values_by_number.get(getattr(self.rule, field))
        return value.name if value is not None else '?'

    @property
    def is_change(self):
        return self.choice('effect') == 'CHANGES'


class Options:
    """Parses the custom options, which the generic classes keep as unknown fields."""
    EXTENSIONS = {'command': 'google.protobuf.MethodOptions',
                  'field': 'google.protobuf.FieldOptions',
                  'status': 'google.protobuf.EnumValueOptions'}

    def __init__(self, protos, package):
        pool = descriptor_pool.DescriptorPool()
        for proto in protos:
            pool.Add(proto)
        factory = message_factory.MessageFactory(pool)
        factory.GetMessages([proto.name for proto in protos])
        self.known = {}
        for name, base in self.EXTENSIONS.items():
            extension = pool.FindExtensionByName('%s.%s' % (package, name))
            self.known[name] = (factory.GetPrototype(pool.FindMessageTypeByName(base)), extension)

    def get(self, name, raw):
        cls, extension = self.known[name]
        parsed = cls.FromString(raw.SerializeToString())
        return parsed.Extensions[extension] if parsed.HasExtension(extension) else None


class Schema:
    """All of idl/. Built from bytes of a FileDescriptorSet with source info."""

    def __init__(self, data):
        protos = list(descriptor_pb2.FileDescriptorSet.FromString(data).file)
        home = next(p for p in protos if p.name == 'options.proto')
        options = Options(protos, home.package)
        self.package = home.package
        self.option_proto = home
        self.files = [File(p) for p in protos if p.package == self.package and p is not home]
        self.files.sort(key=lambda f: f.name)
        self.messages, self.enums, self.commands, self.services = [], [], [], []
        for file in self.files:
            for i, proto in enumerate(file.proto.message_type):
                self.messages.append(Message(file, [4, i], proto, options))
            for i, proto in enumerate(file.proto.enum_type):
                self.enums.append(Enum(file, [5, i], proto, options))
            for i, proto in enumerate(file.proto.service):
                self.services.append(Element(file, [6, i], proto.name))
                for j, method in enumerate(proto.method):
                    self.commands.append(Command(file, [6, i, 2, j], method, options))
        self.link()

    def link(self):
        self.by_name = {m.name: m for m in self.messages}
        for message in self.messages:
            for field in message.fields:
                if field.is_message:
                    field.message = self.by_name.get(field.type_name)
        for command in self.commands:
            command.request = self.by_name.get(command.request_name)
            command.reply = self.by_name.get(command.reply_name)
        self.commands.sort(key=lambda c: c.number)
        status = [e for e in self.enums if e.name == 'Status']
        self.status = status[0] if status else None

    def transaction(self):
        """The command that carries Change messages, or None."""
        for command in self.commands:
            for field in command.request.fields if command.request else []:
                if field.repeated and field.type_name == 'Change':
                    return command
        return None

    def answers(self, command):
        """Names of the statuses that COMMAND may answer, OK left out, by number."""
        listed = set(command.rule.errors)
        if command is self.transaction():
            # Its status is the one of the first change that failed.
            for change in self.commands:
                if change.is_change:
                    listed |= set(change.rule.errors)
        return [v for v in sorted(self.status.values, key=lambda v: v.number)
                if v.number != 0 and (v.name in listed or v.rule.common)]
