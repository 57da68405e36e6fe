"""The generator makes of a tiny schema exactly what stands in tiny/expected.

After a wanted change: GOLDEN_UPDATE=1 gen/tests/test_golden.py, and read the diff.
"""
import os
import shutil
import subprocess
import tempfile
import unittest

import common

EXPECTED = os.path.join(common.HERE, 'tiny', 'expected')
# Ends in a part that is no function of the schema; what comes before it is compared.
LUA_FIXED = '-- Frames: docs/protocol.md'


class Golden(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        status, errors, files = common.generate(common.tiny())
        self.assertEqual((status, errors), (0, []))
        self.lua = files['pohmel.lua']
        files['pohmel.lua'] = self.lua.split(LUA_FIXED)[0]
        self.files = files

    def test_output_is_the_expected(self):
        if os.environ.get('GOLDEN_UPDATE'):
            shutil.rmtree(EXPECTED, ignore_errors=True)
            os.mkdir(EXPECTED)
            for name, text in self.files.items():
                with open(os.path.join(EXPECTED, name), 'w', encoding='utf-8') as file:
                    file.write(text)
        self.assertEqual(sorted(os.listdir(EXPECTED)), sorted(self.files))
        for name, text in self.files.items():
            self.assertMultiLineEqual(text, common.read(EXPECTED, name), name)

    def test_the_same_schema_gives_the_same_output(self):
        self.assertEqual(common.generate(common.tiny())[2]['ph_commands.c'], self.files['ph_commands.c'])

    @unittest.skipUnless(shutil.which('luac5.2'), 'no luac5.2 here')
    def test_the_dissector_is_lua(self):
        with tempfile.NamedTemporaryFile('w', suffix='.lua') as file:
            file.write(self.lua)
            file.flush()
            subprocess.run(['luac5.2', '-p', file.name], check=True)


if __name__ == '__main__':
    unittest.main()
