"""A change of the protocol that deployed peers would notice is told in words."""
import unittest

import common
from pohmelgen import wirelock


def locked(text):
    return common.generate(text)[2]['wire.lock']


class Lock(unittest.TestCase):
    def setUp(self):
        self.before = locked(common.tiny())

    def compare(self, old, new):
        text = common.tiny()
        self.assertIn(old, text)
        return wirelock.compare(self.before, locked(text.replace(old, new)))

    def test_the_same_protocol_has_nothing_to_tell(self):
        self.assertEqual(wirelock.compare(self.before, self.before), ([], []))

    def test_a_changed_type_breaks(self):
        self.assertEqual(
            self.compare('uint32 uid = 1', 'uint64 uid = 1'),
            (['field 1 of Asker changed type from uint32 to uint64: deployed peers would break'], []))

    def test_a_renumbered_field_breaks(self):
        broken, added = self.compare('uint32 uid = 1', 'uint32 uid = 7')
        self.assertEqual(broken, ['field 1 of Asker (uid) was removed: deployed peers would break'])
        self.assertEqual(added, ['field 7 of Asker (uid) is new: run gen/update-lock and commit idl/wire.lock'])

    def test_a_changed_status_breaks(self):
        broken, added = self.compare('NOT_FOUND = 2', 'NOT_FOUND = 4')
        self.assertEqual(broken, ['status 2 (NOT_FOUND) was removed: deployed peers would break'])
        self.assertEqual(len(added), 1)

    def test_a_changed_effect_breaks(self):
        broken, _ = self.compare('section: "6.1" effect: READS', 'section: "6.1" effect: CONTROLS')
        self.assertEqual(broken,
                         ['command 16 changed effect from READS to CONTROLS: deployed peers would break'])

    def test_a_new_field_wants_the_lock_written_anew(self):
        field = '  uint64 at = 9 [(field) = {kind: PLAIN}];\n'
        broken, added = self.compare('  // Its id.\n', '  // Time.\n' + field + '  // Its id.\n')
        self.assertEqual(broken, [])
        self.assertEqual(added, ['field 9 of FindReply (at) is new: run gen/update-lock and commit idl/wire.lock'])


if __name__ == '__main__':
    unittest.main()
