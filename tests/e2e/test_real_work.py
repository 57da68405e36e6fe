"""What long work leaves behind in the server: nothing, once nobody is left."""

import os
import shutil

from harness import Case, wait_for


class Leftovers(Case):
    """A server, a mount, and the server's descriptors."""

    def test_descriptors_are_back_where_they_were_after_the_last_unmount(self):
        """However many directories were made, used and removed."""
        server = self.server()

        def descriptors():
            return len(os.listdir("/proc/%d/fd" % server.program.pid)) if server.program else 0

        self.mount(server).unmount()
        before = descriptors()
        mount = self.mount(server)
        for number in range(100):
            os.makedirs(mount.join("tree", str(number), "below"))
            with open(mount.join("tree", str(number), "below", "file"), "wb") as file:
                file.write(b"x")
        shutil.rmtree(mount.join("tree"))
        mount.unmount()
        wait_for(lambda: descriptors() <= before, "descriptors back to %d, still %d" % (before, descriptors()))
