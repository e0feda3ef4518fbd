import os, time, json
from pathlib import Path
import pytest
from tests.support.daemon import Daemon
from tests.support.waiting import wait_until
from tests.threats.people import *
from tests.threats.conftest import *

def alive(d):
    time.sleep(0.8)
    (d.spool/"incoming"/"ok.sh").write_text("#!/bin/sh\necho ok\n"); os.chown(d.spool/"incoming"/"ok.sh", DAEMON.uid, DAEMON.gid)
    try: d.result("ok.sh", timeout_s=5)
    except AssertionError as e: print(str(e)[-3000:])
    print(d.process.poll()); print(d.log_text()[-2500:])
    assert d.process.poll() is None

def test_prefix():
    print(becoming(DAEMON)); 

def test_box(lab):
    with acting_as(MEMBER):
        b = lab.spool/"incoming"/"ann"; b.mkdir()
        (b/"x.sh").write_text("#!/bin/sh\necho hi\n")
    alive(lab); 

def test_box_bad(lab):
    with acting_as(MEMBER):
        b = lab.spool/"incoming"/"ann"; b.mkdir()
        (b/"x").write_text("nonsense")
    alive(lab)

def test_in_folder(lab):
    with acting_as(MEMBER):
        b = lab.spool/"incoming"/"x.sh.in"; b.mkdir(); (b/"data").write_text("d")
        (lab.spool/"incoming"/"x.sh").write_text("#!/bin/sh\ncat data\n")
    alive(lab)

def test_in_folder_bad(lab):
    with acting_as(MEMBER):
        b = lab.spool/"incoming"/"x.in"; b.mkdir(); (b/"data").write_text("d")
        (lab.spool/"incoming"/"x").write_text("nonsense")
    alive(lab)

def test_rejected_vs_box(lab):
    with acting_as(MEMBER):
        (lab.spool/"incoming"/"fold").write_text("nonsense")
    wait_until((lab.spool/"rejected"/"fold").exists)
    with acting_as(MEMBER):
        b = lab.spool/"incoming"/"fold"; b.mkdir(); b.chmod(0o2770)
        (b/"x").write_text("nonsense")
    alive(lab)

def test_result_vs_box(lab):
    with acting_as(MEMBER):
        (lab.spool/"incoming"/"x.sh").write_text("#!/bin/sh\n")
    lab.result("x.sh")
    with acting_as(MEMBER):
        b = lab.spool/"incoming"/"x.sh.result"; b.mkdir(); b.chmod(0o2770)
        (b/"y.sh").write_text("#!/bin/sh\n")
    alive(lab)

def test_linked_results_box(lab):
    with acting_as(MEMBER):
        (lab.spool/"results"/"ann").symlink_to("/tmp")
        (lab.spool/"rejected"/"ann").symlink_to("/tmp/nowhere")
        b = lab.spool/"incoming"/"ann"; b.mkdir(); b.chmod(0o2770)
        (b/"y.sh").write_text("#!/bin/sh\n")
        (b/"z").write_text("nonsense")
    alive(lab)

def test_reason_names(lab):
    with acting_as(MEMBER):
        (lab.spool/"incoming"/"x.reason").write_text("nonsense one")
    wait_until((lab.spool/"rejected"/"x.reason").exists)
    with acting_as(MEMBER):
        (lab.spool/"incoming"/"x").write_text("nonsense two")
    time.sleep(1)
    print({p.name: p.read_text()[:50] for p in (lab.spool/"rejected").iterdir()})
    alive(lab)
    assert 0

def test_sticky_box(lab):
    with acting_as(MEMBER):
        b = lab.spool/"incoming"/"ann"; b.mkdir(); b.chmod(0o3770)
        (b/"x.sh").write_text("#!/bin/sh\necho hi\n")
        (b/"y").write_text("bad")
    alive(lab)

def test_task_header_of_foreign(lab):
    with acting_as(MEMBER):
        (lab.spool/"incoming"/"sub").mkdir()
        (lab.spool/"incoming"/"sub").chmod(0)
    alive(lab)
