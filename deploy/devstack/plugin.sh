#!/bin/bash
# Umbra's cluster service for DevStack:
#
#   [[local|localrc]]
#   enable_plugin umbra https://<where this repository is>
#
# DevStack sources this at each of its phases (https://docs.openstack.org/devstack/latest/plugins.html). Each may run
# again: what is there stays, what is missing is made. `unstack` ends the service and takes out of Keystone and Swift what
# `stack` put there; `clean` removes what is left on the disk.

_UMBRA_XTRACE=$(set +o | grep xtrace)
set +o xtrace

UMBRA_NODE_MAJOR=20

# DevStack has put IPv6 addresses into brackets.
function _umbra_url {
    echo "$SERVICE_PROTOCOL://$SERVICE_HOST:$UMBRA_CLUSTERS_PORT"
}

function install_umbra {
    local version
    version=$(node --version 2>/dev/null) || die $LINENO "Umbra needs Node.js $UMBRA_NODE_MAJOR or later, and there is none: install it, and stack again"
    version=${version#v}
    [[ ${version%%.*} -ge $UMBRA_NODE_MAJOR ]] || die $LINENO "Umbra needs Node.js $UMBRA_NODE_MAJOR or later, and this is $version: install it, and stack again"
    # Debian's nodejs comes without it.
    type -P npm >/dev/null || die $LINENO "Umbra needs npm, and there is none beside Node.js $version: install it, and stack again"
    install_package make
    make -C "$UMBRA_DIR" build
    # What nodes fetch, into the folder where the service looks for it.
    if [[ "$UMBRA_NODE_PROGRAM" == True ]]; then
        make -C "$UMBRA_DIR" dist ARGS="--out $UMBRA_PROGRAMS"
    fi
}

# Texts that nobody chose: made once, kept for their owner.
function _umbra_secret {
    local file=$UMBRA_CONF_DIR/$1
    if [[ ! -s $file ]]; then
        (umask 077 && head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$file")
    fi
    cat "$file"
}

function configure_umbra {
    sudo install -d -m 700 -o "$STACK_USER" "$UMBRA_CONF_DIR" "$UMBRA_STATE_DIR"
    _umbra_secret encryption-key >/dev/null
    (umask 077 && printf %s "$SERVICE_PASSWORD" >"$UMBRA_CONF_DIR/service-password")
    _umbra_secret nodes-admin-password >/dev/null

    local ca="" tls="" nodes=""
    if is_service_enabled tls-proxy; then
        ca="ca: $SSL_BUNDLE_FILE"
        nodes="nodes: { ca: $SSL_BUNDLE_FILE }"
        # One file with the key and the certificate.
        tls="tls: { cert: $DEVSTACK_CERT, key: $DEVSTACK_CERT }"
    fi
    (umask 077 && cat >"$UMBRA_CONF_DIR/umbra.yaml") <<EOF
listeners:
  - address: localhost:$UMBRA_REGISTRY_PORT
storage:
  driver: swift
  container: $UMBRA_CONTAINER
  region: $REGION_NAME
  $ca
  auth:
    url: $KEYSTONE_SERVICE_URI/v3
    username: $UMBRA_USER
    passwordFile: $UMBRA_CONF_DIR/service-password
    userDomain: $SERVICE_DOMAIN_NAME
    project: $SERVICE_PROJECT_NAME
    projectDomain: $SERVICE_DOMAIN_NAME
auth:
  keyFile: $UMBRA_STATE_DIR/token-key
clusters:
  address: "$SERVICE_LISTEN_ADDRESS:$UMBRA_CLUSTERS_PORT"
  $tls
  publicUrl: $(_umbra_url)
  programs: $UMBRA_PROGRAMS
  database: sqlite:$UMBRA_STATE_DIR/clusters.db
  encryptionKeyFile: $UMBRA_CONF_DIR/encryption-key
  keystone:
    url: $KEYSTONE_SERVICE_URI/v3
    username: $UMBRA_USER
    passwordFile: $UMBRA_CONF_DIR/service-password
    userDomain: $SERVICE_DOMAIN_NAME
    project: $SERVICE_PROJECT_NAME
    region: $REGION_NAME
    $ca
  trusteeDomain:
    name: $UMBRA_NODE_DOMAIN
    adminUsername: $UMBRA_NODE_DOMAIN_ADMIN
    adminPasswordFile: $UMBRA_CONF_DIR/nodes-admin-password
  serviceProject: $UMBRA_NODE_PROJECT
  serviceProjectDomain: $UMBRA_NODE_DOMAIN
  roles:
    node: $UMBRA_NODE_ROLE
    delegated: [$UMBRA_DELEGATED_ROLE]
  $nodes
EOF
}

# Settings may name roles that others use: noted is what was missing, and `unstack` takes back nothing else.
function _umbra_make {
    local what=$1
    shift
    openstack --os-cloud devstack-admin "$@" >/dev/null
    echo "$what" >>"$UMBRA_STATE_DIR/made"
}

function _umbra_made {
    grep -qsxF "$1" "$UMBRA_STATE_DIR/made"
}

# In Keystone: who the service is, whom it may make, and where clients find it.
function create_umbra_accounts {
    get_or_create_user "$UMBRA_USER" "$SERVICE_PASSWORD" "$SERVICE_DOMAIN_NAME" >/dev/null
    # `service` checks the tokens of clients; the other lets it tidy containers of projects whose people have left.
    local role
    for role in service ResellerAdmin; do
        get_or_create_role "$role" >/dev/null
        get_or_add_user_project_role "$role" "$UMBRA_USER" "$SERVICE_PROJECT_NAME" "$SERVICE_DOMAIN_NAME" "$SERVICE_DOMAIN_NAME" >/dev/null
    done

    get_or_create_domain "$UMBRA_NODE_DOMAIN" "Users of cluster nodes' registries" >/dev/null
    get_or_create_user "$UMBRA_NODE_DOMAIN_ADMIN" "$(_umbra_secret nodes-admin-password)" "$UMBRA_NODE_DOMAIN" >/dev/null
    get_or_add_user_domain_role admin "$UMBRA_NODE_DOMAIN_ADMIN" "$UMBRA_NODE_DOMAIN" >/dev/null
    get_or_create_project "$UMBRA_NODE_PROJECT" "$UMBRA_NODE_DOMAIN" >/dev/null

    local roles
    roles=$(openstack --os-cloud devstack-admin role list -f value -c Name)
    # The second means nothing to Swift either, but that a container's access list names it: what owners of clusters lend to
    # nodes. Whoever is a member of a project has it there.
    for role in "$UMBRA_NODE_ROLE" "$UMBRA_DELEGATED_ROLE"; do
        grep -qxF "$role" <<<"$roles" ||
            _umbra_make "role $role" role create "$role"
    done
    openstack --os-cloud devstack-admin implied role list -f value -c "Implied Role Name" | grep -qxF "$UMBRA_DELEGATED_ROLE" ||
        _umbra_make "implied $UMBRA_DELEGATED_ROLE" implied role create member --implied-role "$UMBRA_DELEGATED_ROLE"

    get_or_create_service umbra container-infra "Registries on the nodes of clusters" >/dev/null
    get_or_create_endpoint container-infra "$REGION_NAME" "$(_umbra_url)/v1" >/dev/null
}

function _umbra_as_service {
    local ca=()
    if is_service_enabled tls-proxy; then
        ca=(--os-cacert "${SSL_BUNDLE_FILE:-$DATA_DIR/ca-bundle.pem}") # stack.sh sets it, unstack.sh does not
    fi
    OS_CLOUD="" openstack "${ca[@]}" --os-identity-api-version 3 --os-auth-url "$KEYSTONE_SERVICE_URI/v3" \
        --os-username "$UMBRA_USER" --os-password "$SERVICE_PASSWORD" --os-user-domain-name "$SERVICE_DOMAIN_NAME" \
        --os-project-name "$SERVICE_PROJECT_NAME" --os-project-domain-name "$SERVICE_DOMAIN_NAME" --os-region-name "$REGION_NAME" "$@"
}

# A Swift that takes nothing is noticed here rather than by the first push.
function create_umbra_container {
    _umbra_as_service container create "$UMBRA_CONTAINER" >/dev/null || die $LINENO "Swift did not make the container $UMBRA_CONTAINER"
}

function start_umbra {
    # What runs may be of before this configuration.
    stop_process umbra-clusters
    run_process umbra-clusters "$UMBRA_DIR/bin/umbra serve -c $UMBRA_CONF_DIR/umbra.yaml"
    wait_for_service "$SERVICE_TIMEOUT" "$(_umbra_url)/" || die $LINENO "the cluster service does not answer at $(_umbra_url)"
}

# Each of these may be gone already, and Keystone too.
function remove_umbra_accounts {
    # With its endpoints.
    _umbra_gone service delete umbra
    _umbra_as_service container delete --recursive "$UMBRA_CONTAINER" 2>/dev/null || true
    # Keystone deletes what is in a domain with it, once it is disabled.
    if openstack --os-cloud devstack-admin domain set --disable "$UMBRA_NODE_DOMAIN" 2>/dev/null; then
        openstack --os-cloud devstack-admin domain delete "$UMBRA_NODE_DOMAIN"
    fi
    # First: not every database of Keystone takes it away with the role, and then nobody gets a token any more.
    if _umbra_made "implied $UMBRA_DELEGATED_ROLE"; then
        _umbra_gone implied role delete member --implied-role "$UMBRA_DELEGATED_ROLE"
    fi
    local role
    for role in "$UMBRA_NODE_ROLE" "$UMBRA_DELEGATED_ROLE"; do
        if _umbra_made "role $role"; then
            _umbra_gone role delete "$role"
        fi
    done
    rm -f "$UMBRA_STATE_DIR/made"
    _umbra_gone user delete --domain "$SERVICE_DOMAIN_NAME" "$UMBRA_USER"
}

function _umbra_gone {
    openstack --os-cloud devstack-admin "$@" 2>/dev/null || true
}

if is_service_enabled umbra-clusters; then
    case "$1 ${2:-}" in
    "stack install")
        echo_summary "Building Umbra"
        install_umbra
        ;;
    "stack post-config")
        echo_summary "Configuring Umbra"
        configure_umbra
        create_umbra_accounts
        ;;
    "stack extra")
        echo_summary "Starting Umbra"
        create_umbra_container
        start_umbra
        ;;
    esac
fi
case "$1" in
unstack)
    stop_process umbra-clusters
    remove_umbra_accounts
    ;;
clean)
    sudo rm -rf "$UMBRA_CONF_DIR" "$UMBRA_STATE_DIR"
    ;;
esac

$_UMBRA_XTRACE
