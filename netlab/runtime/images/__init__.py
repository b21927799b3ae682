"""Images as an OCI image layout: blobs by their digest, names in an index, layers unpacked for overlayfs.

Whatever can read such a layout (skopeo, umoci, podman) can read the store as it lies. Source: OCI image specification
1.1. This package refuses to speak to a registry: skopeo does, and copies into the layout.
"""
