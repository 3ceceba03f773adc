package model

import "fmt"

// Error is AWS's error: a code that scripts compare, and a message for people.
type Error struct{ Code, Message string }

func (e *Error) Error() string { return e.Code + ": " + e.Message }

func errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// The codes ("Error codes for the Amazon EC2 API").
const (
	CodeDryRun             = "DryRunOperation"
	CodeTokenMismatch      = "IdempotentParameterMismatch"
	CodeUnsupported        = "UnsupportedOperation"
	CodeNotPermitted       = "OperationNotPermitted"
	CodeInternal           = "InternalError"
	CodeBadValue           = "InvalidParameterValue"
	CodeBadCombination     = "InvalidParameterCombination"
	CodeMissing            = "MissingParameter"
	CodeEndpointNotFound   = "InvalidClientVpnEndpointId.NotFound"
	CodeEndpointLimit      = "ClientVpnEndpointLimitExceeded"
	CodeEndpointInUse      = "ClientVpnEndpointAssociationExists"
	CodeAssociationMissing = "InvalidClientVpnAssociationIdNotFound"
	CodeNoAssociation      = "InvalidClientVpnActiveAssociationNotFound"
	CodeAssociationTwice   = "InvalidClientVpnDuplicateAssociationException"
	CodeAssociationLimit   = "ClientVpnAssociationLimitExceeded"
	CodeSubnetNotFound     = "InvalidClientVpnSubnetId.NotFound"
	CodeZoneTwice          = "InvalidClientVpnSubnetId.DuplicateAz"
	CodeSubnetOverlaps     = "InvalidClientVpnSubnetId.OverlappingCidr"
	CodeRuleTwice          = "InvalidClientVpnDuplicateAuthorizationRule"
	CodeRuleNotFound       = "InvalidClientVpnEndpointAuthorizationRuleNotFound"
	CodeRuleLimit          = "ClientVpnAuthorizationRuleLimitExceeded"
	CodeRouteTwice         = "InvalidClientVpnDuplicateRoute"
	CodeRouteNotFound      = "InvalidClientVpnRouteNotFound"
	CodeRouteLimit         = "ClientVpnRouteLimitExceeded"
	CodeConnectionNotFound = "InvalidClientVpnConnection.IdNotFound"
	CodeUserNotFound       = "InvalidClientVpnConnection.UserNotFound"
	CodeTerminateLimit     = "ClientVpnTerminateConnectionsLimitExceeded"
	CodeCRLLimit           = "ClientVpnCertificateRevocationListLimitExceeded"
	CodeGatewayNotFound    = "InvalidTransitGatewayID.NotFound"
	CodeAttachmentNotFound = "InvalidTransitGatewayAttachmentID.NotFound"
	CodeIncorrectState     = "IncorrectState"
	CodePolicyNotFound     = "InvalidClientVpnEndpointAuthorizationPolicy.NotFound"
	CodeVPCNotFound        = "InvalidVpcID.NotFound"
	CodeGroupNotFound      = "InvalidGroup.NotFound"
	CodeGroupLimit         = "SecurityGroupsPerInterfaceLimitExceeded"
	CodeIDNotFound         = "InvalidID"
	CodeTagLimit           = "TagLimitExceeded"
)

func badValue(format string, args ...any) *Error { return errorf(CodeBadValue, format, args...) }

func missing(parameter string) *Error {
	return errorf(CodeMissing, "The request must contain the parameter %s", parameter)
}
