"""What the members of a pool of HTCondor are told: `condor_config` files, all intervals short."""

from __future__ import annotations

from pathlib import Path

EVERY = """\
RELEASE_DIR = {programs}
BIN = $(RELEASE_DIR)/bin
SBIN = $(RELEASE_DIR)/sbin
LIB = $(RELEASE_DIR)/lib/condor
LIBEXEC = $(RELEASE_DIR)/libexec/condor
SHARE = $(RELEASE_DIR)/share/condor
LOCAL_CONFIG_FILE =
LOCAL_CONFIG_DIR =
CONDOR_HOST = {manager}
COLLECTOR_HOST = {manager}:{port}
ENABLE_IPV6 = False
NO_DNS = True
DEFAULT_DOMAIN_NAME = test
UID_DOMAIN = test
TRUST_DOMAIN = test
"""

MEMBER = """\
LOCAL_DIR = {folder}
LOG = $(LOCAL_DIR)/log
SPOOL = $(LOCAL_DIR)/spool
EXECUTE = $(LOCAL_DIR)/execute
LOCK = $(LOCAL_DIR)/lock
RUN = $(LOCAL_DIR)/run
MAIL = /bin/true
NETWORK_INTERFACE = {address}
NETWORK_HOSTNAME = {name}.test
BIND_ALL_INTERFACES = False
FILESYSTEM_DOMAIN = {files}
DAEMON_LIST = MASTER, {daemons}
USE_SHARED_PORT = {shares_port}
SHARED_PORT_PORT = {port}

use security:recommended_v9_0
SEC_DEFAULT_AUTHENTICATION = REQUIRED
SEC_DEFAULT_AUTHENTICATION_METHODS = FS, IDTOKENS
SEC_PASSWORD_DIRECTORY = {keys}
SEC_TOKEN_POOL_SIGNING_KEY_FILE = {keys}/POOL
SEC_TOKEN_SYSTEM_DIRECTORY = {keys}/tokens.d
SEC_USE_FAMILY_SESSION = False
ALLOW_READ = *
ALLOW_WRITE = *
ALLOW_DAEMON = {user}@test
ALLOW_NEGOTIATOR = {user}@test
ALLOW_ADMINISTRATOR = {user}@test

CONDOR_FSYNC = False
DEFAULT_USERLOG_FORMAT_OPTIONS = ISO_DATE, UTC, SUB_SECOND
EVENT_LOG = $(LOG)/EventLog
EVENT_LOG_FORMAT_OPTIONS = ISO_DATE, UTC, SUB_SECOND
MOUNT_UNDER_SCRATCH =
STARTD_DETECT_GPUS =
JAVA =
DOCKER =
SINGULARITY =
RUNBENCHMARKS = 0
UPDATE_INTERVAL = 5
MASTER_UPDATE_INTERVAL = 5
MASTER_BACKOFF_CONSTANT = 1
CLASSAD_LIFETIME = 20
NEGOTIATOR_INTERVAL = 1
NEGOTIATOR_MIN_INTERVAL = 1
NEGOTIATOR_CYCLE_DELAY = 1
SCHEDD_INTERVAL = 1
SCHEDD_MIN_INTERVAL = 1
# Schedd and negotiator that greet each other for the first time at once wait 20 s for each other.
SCHEDD_SEND_RESCHEDULE = False
JOB_START_DELAY = 0
SHADOW_QUEUE_UPDATE_INTERVAL = 2
PERIODIC_EXPR_INTERVAL = 1
MAX_PERIODIC_EXPR_INTERVAL = 2
CLAIM_PARTITIONABLE_LEFTOVERS = False
NUM_CPUS = {cpus}
MEMORY = 4096
NUM_SLOTS_TYPE_1 = 1
SLOT_TYPE_1 = 100%
SLOT_TYPE_1_PARTITIONABLE = True
START = True
PREEMPT = False
SUSPEND = False
KILL = False
WANT_VACATE = True
STARTER_UPDATE_INTERVAL = 2
STARTER_INITIAL_UPDATE_INTERVAL = 1
"""

CLIENT = """\
LOCAL_DIR = {folder}
LOG = $(LOCAL_DIR)
NETWORK_INTERFACE = 127.0.0.1
FILESYSTEM_DOMAIN = {files}
SCHEDD_HOST = {schedd}
SEC_CLIENT_AUTHENTICATION = REQUIRED
SEC_CLIENT_AUTHENTICATION_METHODS = {methods}
SEC_DEFAULT_AUTHENTICATION_METHODS = {methods}
SEC_TOKEN_DIRECTORY = {folder}/tokens.d
SEC_FS_ENFORCE_CHANNEL_BINDING = False
"""

FOLDERS = ("log", "spool", "execute", "lock", "run")  #: of a member


def write(path: Path, *texts: str) -> None:
    """Write the parts of a configuration one after the other; the last word counts."""
    path.write_text("\n".join(texts), encoding="utf-8")
