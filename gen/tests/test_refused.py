"""Declarations that leave something open are refused, with file, line and what is missing."""
import unittest

import common

UID = '  uint32 uid = 1 [(field) = {kind: USER_ID}];'
NAMES = 'kind: NAME, max_len: 255, min_count: 1, max_count: 4'
FIND_RULE = 'lease: LEASE_SHARED profile: BASE idempotence: "reads only"'
FIND = 'rpc FindIt(FindRequest) returns (FindReply) {'
NEWS = 'rpc News(NewsEvent) returns (Nothing) {'
PUT = 'rpc Put(PutRequest) returns (PutResult) {'

# (what is replaced, by what, beginning of the line that must be named, what must be said)
CASES = [
    ('// Who asks.\nmessage Asker', 'message Asker', 'message Asker', 'message Asker has no comment'),
    ('  // User id.\n', '', '  uint32 uid', 'field Asker.uid has no comment'),
    ('  // Not there.\n', '', '  NOT_FOUND', 'value NOT_FOUND has no comment'),
    ('  // Unknown.\n', '', '  COLOUR_NONE', 'value COLOUR_NONE has no comment'),
    ('// Colours, as numbers of a field.\n', '', 'enum Colour', 'enum Colour has no comment'),
    ('  // Finds a thing.\n', '', '  ' + FIND, 'command FindIt has no comment'),
    ('  // The command.\n', '', '  oneof command', 'oneof Change.command has no comment'),
    ('// The commands.\nservice', 'service', 'service', 'service Pohmel has no comment'),
    (UID, '  uint32 uid = 1;', '  uint32 uid', 'field Asker.uid has no (field) rule'),
    (UID, '  uint32 uid = 1 [(field) = {max: 5}];', '  uint32 uid', 'field Asker.uid has no kind'),
    (UID, '  uint32 uid = 1 [(field) = {kind: NAME}];', '  uint32 uid', 'field Asker.uid: kind NAME is for bytes'),
    (UID, '  bytes uid = 1 [(field) = {kind: USER_ID, max_len: 1}];', '  bytes uid',
     'field Asker.uid: kind USER_ID is for uint32 and uint64'),
    (UID, '  string uid = 1 [(field) = {kind: PLAIN}];', '  string uid',
     'field Asker.uid is a string; use bytes with max_len'),
    (UID, '  double uid = 1 [(field) = {kind: PLAIN}];', '  double uid',
     'field Asker.uid: type double is not used in this protocol'),
    (UID, '  optional uint32 uid = 1 [(field) = {kind: USER_ID}];', '  optional uint32 uid',
     'field Asker.uid: "optional" is not used; make it a oneof of one member'),
    (UID, '  uint32 uid = 1 [(field) = {kind: USER_ID, required: true}];', '  uint32 uid',
     'field Asker.uid: required is for sub-messages; use min or min_len'),
    (UID, '  uint32 uid = 1 [(field) = {kind: USER_ID, max_len: 3}];', '  uint32 uid',
     'field Asker.uid: min_len and max_len are for bytes'),
    (UID, '  uint32 uid = 1 [(field) = {kind: USER_ID, max_count: 3}];', '  uint32 uid',
     'field Asker.uid: min_count and max_count are for repeated fields'),
    (UID, '  uint32 uid = 1 [(field) = {kind: USER_ID, min: 9, max: 3}];', '  uint32 uid',
     'field Asker.uid: min is above max'),
    (UID, '  uint32 uid = 1 [(field) = {kind: USER_ID, max: 4294967296}];', '  uint32 uid',
     'field Asker.uid: a limit does not fit the type'),
    (UID, '  uint32 uid = 1 [(field) = {kind: USER_ID, max: 3, bits: 3}];', '  uint32 uid',
     'field Asker.uid: a set of bits has no min or max'),
    ('kind: TIME}', 'kind: TIME, min: 1}', '  sint64 made',
     'field FindReply.made: min, max and bits are for uint32 and uint64'),
    (NAMES, 'kind: NAME, max_count: 4', '  repeated bytes names', 'field FindRequest.names: bytes without max_len'),
    (NAMES, 'kind: NAME, max_len: 4', '  repeated bytes names', 'field FindRequest.names: repeated without max_count'),
    (NAMES, 'kind: NAME, max_len: 4, min_len: 5, max_count: 4', '  repeated bytes names',
     'field FindRequest.names: min_len is above max_len'),
    (NAMES, 'kind: NAME, max_len: 4, min_count: 5, max_count: 4', '  repeated bytes names',
     'field FindRequest.names: min_count is above max_count'),
    (UID, '  map<uint32, uint32> uid = 1 [(field) = {kind: PLAIN, max_count: 3}];', 'message Asker',
     'Asker.UidEntry: maps, groups and nested types are not used; declare it at the top level'),
    (UID, UID + '\n  // Again.\n  FindRequest again = 2 [(field) = {kind: PLAIN}];', 'message Asker',
     'message Asker contains itself (Asker > FindRequest > Asker)'),
    ('kind: PLAIN, required: true}];\n  }\n', 'kind: PLAIN}];\n  }\n', '    PutRequest put',
     'member Change.put must be required'),
    ('number: 16 section', 'section', '  ' + FIND, 'command FindIt: number is missing'),
    ('number: 16 section', 'number: 70000 section', '  ' + FIND, 'command FindIt: the number does not fit 16 bits'),
    ('number: 16 section: "6.1"', 'number: 16', '  ' + FIND, 'command FindIt: section is missing'),
    ('section: "6.1"', 'section: "six"', '  ' + FIND, 'command FindIt: section "six" is not a section number'),
    ('effect: READS ', '', '  ' + FIND, 'command FindIt: effect is missing'),
    ('READS cost: QUICK', 'READS', '  ' + FIND, 'command FindIt: cost is missing'),
    ('READS cost: QUICK layer: STORE', 'READS cost: QUICK', '  ' + FIND, 'command FindIt: layer is missing'),
    ('lease: LEASE_SHARED ', '', '  ' + FIND, 'command FindIt: lease is missing'),
    (FIND_RULE, FIND_RULE.replace('profile: BASE ', ''), '  ' + FIND, 'command FindIt: profile is missing'),
    (FIND_RULE, FIND_RULE.replace('idempotence: "reads only"', ''), '  ' + FIND,
     'command FindIt: idempotence is missing'),
    ('errors: ["NOT_FOUND"]', 'errors: ["LOST"]', '  ' + FIND, 'command FindIt: unknown status "LOST" in errors'),
    ('errors: ["NOT_FOUND"]', 'errors: ["NOT_FOUND", "NOT_FOUND"]', '  ' + FIND,
     'command FindIt: status "NOT_FOUND" is listed twice'),
    ('number: 90', 'number: 16', '  ' + NEWS, 'command News has the number 16 of FindIt'),
    ('event: true ', '', '  rpc News(NewsEvent)', 'command News: the name of NewsEvent must end in Request'),
    ('CONTROLS cost: QUICK layer: PEER', 'CONTROLS cost: QUICK layer: STORE', '  ' + NEWS,
     'command News: an event is of layer PEER'),
    ('returns (FindReply)', 'returns (Asker)', '  rpc FindIt', 'command FindIt: the name of Asker must end in Reply'),
    ('returns (FindReply)', 'returns (stream FindReply)', '  rpc FindIt', 'command FindIt: streams are not used'),
    ('effect: CHANGES cost: QUICK layer: STORE', 'effect: CHANGES cost: QUICK layer: SESSION', '  ' + PUT,
     'command Put: a change is of layer STORE'),
    ('number: 40 section', 'number: 41 section', '    PutRequest put = 40',
     'member Change.put has number 40, its command has 41'),
    ('number: 40 section', 'number: 41 section', '    PutResult put = 40',
     'member ChangeResult.put has number 40, its command has 41'),
    ('    PutRequest put = 40', '    PutRequest set = 40', '  ' + PUT, 'command Put is not a member of Change.command'),
    ('    PutRequest put = 40', '    PutRequest set = 40', '    PutRequest set',
     'member Change.set has no command that changes'),
    ('    PutResult put = 40', '    FindReply put = 40', '    FindReply put',
     'member ChangeResult.put is a FindReply, its command has a PutResult'),
    ('effect: CHANGES', 'effect: READS', '    PutRequest put', 'member Change.put has no command that changes'),
    ('repeated Change changes = 1 [(field) = {kind: PLAIN, min_count: 1, max_count: 8}]',
     'Change changes = 1 [(field) = {kind: PLAIN}]', 'message Change {', 'no command carries a repeated Change'),
    ('NOT_FOUND = 2 [(status) = {errno_name: "ENOENT", text: "no such thing"}]', 'NOT_FOUND = 2',
     '  NOT_FOUND', 'status NOT_FOUND has no (status) rule'),
    ('"ENOENT"', '"ENOTHING"', '  NOT_FOUND', 'status NOT_FOUND: unknown errno "ENOTHING"'),
    ('errno_name: "ENOENT", text', 'text', '  NOT_FOUND', 'status NOT_FOUND: unknown errno ""'),
    (', text: "no such thing"', '', '  NOT_FOUND', 'status NOT_FOUND has no text'),
    ('enum Status', 'enum Answer', '', 'no enum Status in any file'),
]


class Refused(unittest.TestCase):
    def refused(self, text, expected):
        status, errors, files = common.generate(text)
        self.assertEqual(status, 1)
        self.assertIn(expected, errors)
        self.assertEqual(files, {}, 'nothing is written')

    def test_each_incomplete_declaration(self):
        original = common.tiny()
        for old, new, line, words in CASES:
            with self.subTest(words):
                self.assertEqual(original.count(old), 1, 'the text to replace stands there once')
                text = original.replace(old, new)
                numbers = [i + 1 for i, l in enumerate(text.splitlines()) if l.startswith(line)] if line else [1]
                self.assertEqual(len(numbers), 1, 'the line to name is clear')
                self.refused(text, 'tiny.proto:%d: %s' % (numbers[0], words))

    def test_a_command_without_any_rule(self):
        text = common.tiny()
        start = text.index('  ' + NEWS)
        text = text[:start] + '  rpc News(NewsEvent) returns (Nothing);\n}\n'
        line = text[:start].count('\n') + 1
        self.refused(text, 'tiny.proto:%d: command News has no (command) rule' % line)

    def test_all_problems_are_told_at_once(self):
        text = common.tiny().replace('  // User id.\n', '').replace('  // Not there.\n', '')
        _, errors, _ = common.generate(text)
        self.assertEqual(len(errors), 2)


if __name__ == '__main__':
    unittest.main()
