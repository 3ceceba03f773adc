package main

// administrators says where the administrator of the machine decides.
func administrators() places {
	const policy = "/etc/adit/policy.json"
	return places{profiles: "/etc/adit/profiles", policy: policy, set: inFile(policy)}
}
