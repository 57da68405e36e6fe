"""What the tests of the generator share: running it on a schema in a scratch folder."""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
GEN = os.path.dirname(HERE)
IDL = os.path.join(os.path.dirname(GEN), 'idl')
sys.dont_write_bytecode = True
sys.path.insert(0, GEN)


def read(*parts):
    with open(os.path.join(*parts), encoding='utf-8') as file:
        return file.read()


def tiny():
    return read(HERE, 'tiny', 'tiny.proto')


def generate(text):
    """Runs protoc and the generator on TEXT as tiny.proto.
    Returns (exit status, stderr lines, {file: text})."""
    with tempfile.TemporaryDirectory() as scratch:
        with open(os.path.join(scratch, 'tiny.proto'), 'w', encoding='utf-8') as file:
            file.write(text)
        out = os.path.join(scratch, 'out')
        os.mkdir(out)
        descriptors = os.path.join(scratch, 'set')
        subprocess.run(['protoc', '-I' + scratch, '-I' + IDL, '-I/usr/include', '--include_imports',
                        '--include_source_info', '--descriptor_set_out=' + descriptors, 'tiny.proto'],
                       check=True)
        done = subprocess.run([sys.executable, '-B', os.path.join(GEN, 'generate.py'), descriptors, out],
                              capture_output=True, text=True, check=False)
        files = {name: read(out, name) for name in os.listdir(out)}
        return done.returncode, done.stderr.splitlines(), files
